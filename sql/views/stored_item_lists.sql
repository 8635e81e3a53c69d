-- Items' similar items, of every generation that is kept; say which generation you mean.
create or replace view {schema}.stored_item_lists as
select generation, item_id, items, scores
from {schema}.item_lists;
