-- The first n available items that are most like `item`, best first; no rows for an unknown or null item.
-- The score is the cosine of the item towers' vectors. A null n is 20.
create or replace function {schema}.similar_items(item text, n integer default 20)
returns table ("position" integer, item_id text, score real, reason text)
language plpgsql stable parallel safe rows 20
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
    live_now constant integer := (select p.generation from {schema}.live_pointer p);
    items text[];
    scores real[];
    gone text[];
begin
    select l.items, l.scores into items, scores
    from {schema}.stored_item_lists l
    where l.generation = live_now and l.item_id = similar_items.item;
    gone := array(select a.item_id from {schema}.unavailable_items a where a.item_id = any (items));
    return query
        select
            (row_number() over (order by e.place))::integer, e.item_id, e.score, 'similar to ' || similar_items.item
        from unnest(items, scores) with ordinality as e (item_id, score, place)
        where e.item_id <> all (gone)
        order by e.place
        limit greatest(coalesce(similar_items.n, 20), 0);
end
$$;
