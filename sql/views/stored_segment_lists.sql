-- Segments' lists of every generation that is kept; say which generation you mean.
-- `items` and `scores` are best first; `reasons` has each reason once, and `reason_of` for each item its place there,
-- from 1, in two bytes: `reasons[get_byte(reason_of, 2 * position - 2) * 256 + get_byte(reason_of, 2 * position - 1)]`.
create or replace view {schema}.stored_segment_lists as
select generation, surface, segment, string_to_array(items, chr(31)) as items, scores, reasons, reason_of
from {schema}.segment_lists;
