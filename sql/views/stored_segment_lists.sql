-- Segments' lists of every generation that is kept; say which generation you mean.
create or replace view {schema}.stored_segment_lists as
select generation, surface, segment, items, scores, reasons
from {schema}.segment_lists;
