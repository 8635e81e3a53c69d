-- Users' lists of every generation that is kept; say which generation you mean.
create or replace view {schema}.stored_user_lists as
select generation, surface, user_id, items, scores, reasons, regime
from {schema}.user_lists;
