-- The items that reads leave out.
create or replace view {schema}.unavailable_items as
select item_id
from {schema}.item_availability
where not available;
