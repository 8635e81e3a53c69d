-- Users' lists of every generation that is kept; say which generation you mean.
-- `items` and `scores` are best first; `reasons` has each reason once, and `reason_of` for each item its place there,
-- from 1, in two bytes: `reasons[get_byte(reason_of, 2 * position - 2) * 256 + get_byte(reason_of, 2 * position - 1)]`.
create or replace view {schema}.stored_user_lists as
select generation, surface, user_id, string_to_array(items, chr(31)) as items, scores, reasons, reason_of, regime
from {schema}.user_lists;
