-- Users' lists of every generation that is kept; say which generation you mean.
-- `items` and `scores` are best first; an item's reason is `reasons[reason_of[position]]`.
create or replace view {schema}.stored_user_lists as
select generation, surface, user_id, string_to_array(items, chr(31)) as items, scores, reasons, reason_of, regime
from {schema}.user_lists;
