-- The generation that is live: no row before the first one.
create or replace view {schema}.live_generation as
select g.generation, g.dataset, g.ds, g.seq, g.run, g.first_live_at
from {schema}.live l
join {schema}.generations g using (generation);
