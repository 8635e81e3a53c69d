-- The first n available items that are most like `item`, best first; no rows for an unknown or null item.
-- The score is the cosine of the item towers' vectors. A null n is 20.
create or replace function {schema}.similar_items(item text, n integer default 20)
returns table ("position" integer, item_id text, score real, reason text)
language sql stable parallel safe rows 20
as $$
    select (row_number() over (order by e.place))::integer, e.item_id, e.score, 'similar to ' || $1
    from {schema}.stored_item_lists l
    cross join lateral unnest(l.items, l.scores) with ordinality as e (item_id, score, place)
    where l.generation = (select p.generation from {schema}.live_pointer p)
        and l.item_id = $1
        and not exists (select from {schema}.unavailable_items a where a.item_id = e.item_id)
    order by e.place
    limit greatest(coalesce($2, 20), 0)
$$;
