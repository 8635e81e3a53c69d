-- Items' similar items, of every generation that is kept; say which generation you mean.
create or replace view {schema}.stored_item_lists as
select generation, item_id, string_to_array(items, chr(31)) as items, scores
from {schema}.item_lists;
