-- Every generation there ever was, with what people ask of it.
create or replace view {schema}.versions as
select
    g.generation, g.ds, g.seq, g.run, g.state, g.counts, g.versions, g.metrics, g.gate,
    g.created_at, g.loaded_at, g.first_live_at, g.last_live_at, g.pruned_at,
    (l.generation is not null) as is_live
from {schema}.generations g
left join {schema}.live l using (generation);
