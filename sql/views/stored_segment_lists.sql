-- Segments' lists of every generation that is kept; say which generation you mean.
-- `items` and `scores` are best first; an item's reason is `reasons[reason_of[position]]`.
create or replace view {schema}.stored_segment_lists as
select generation, surface, segment, string_to_array(items, chr(31)) as items, scores, reasons, reason_of
from {schema}.segment_lists;
