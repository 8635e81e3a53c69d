-- The first n available items for a visitor who has just looked at `item_ids` (in that order, the latest last),
-- whatever last night knew of them: the similar items of the last 50, each item's share falling by a fifth with
-- every step back, equal scores by item id. What was looked at is left out. Where that gives too few (an unknown
-- item, an empty or null array) `get_list` of the surface fills up: the user's own list where `user_id` is known to
-- us, else everybody's. A null n is 20.
create or replace function {schema}.session_list(
    item_ids text[],
    n integer default 20,
    surface text default 'home',
    user_id text default null
)
returns table ("position" integer, item_id text, score real, reason text)
language plpgsql stable parallel safe rows 20
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
    live_now constant integer := (select p.generation from {schema}.live_pointer p);
    wanted constant integer := greatest(coalesce(session_list.n, 20), 0);
    looked_at constant text[] := coalesce(
        session_list.item_ids[greatest(1, cardinality(session_list.item_ids) - 49):], '{{}}'
    );
    items text[];
    scores real[];
    because text[];
    gone text[];
    given integer;
begin
    with latest as (
        select u.item_id, row_number() over (order by max(u.place) desc) - 1 as steps_back
        from unnest(looked_at) with ordinality as u (item_id, place)
        where u.item_id is not null
        group by u.item_id
    ),
    merged as (
        select
            e.item_id,
            sum(e.score * power(0.8, s.steps_back))::real as score,
            (array_agg(s.item_id order by e.score * power(0.8, s.steps_back) desc, s.steps_back))[1] as because
        from latest s
        join {schema}.stored_item_lists l on l.generation = live_now and l.item_id = s.item_id
        cross join lateral unnest(l.items, l.scores) as e (item_id, score)
        where (e.item_id = any (looked_at)) is not true
        group by e.item_id
    )
    select
        array_agg(m.item_id order by m.score desc, m.item_id),
        array_agg(m.score order by m.score desc, m.item_id),
        array_agg(m.because order by m.score desc, m.item_id)
    into items, scores, because
    from merged m;

    gone := array(select a.item_id from {schema}.unavailable_items a where a.item_id = any (items));
    return query
        select
            (row_number() over (order by e.place))::integer, e.item_id, e.score, 'similar to ' || e.because
        from unnest(items, scores, because) with ordinality as e (item_id, score, because, place)
        where e.item_id <> all (gone)
        order by e.place
        limit wanted;
    get diagnostics given = row_count;
    if given < wanted then
        items := coalesce(items, '{{}}');
        return query
            select (given + row_number() over (order by g.position))::integer, g.item_id, g.score, g.reason
            from {schema}.get_list(
                session_list.user_id,
                session_list.surface,
                least(wanted::bigint + cardinality(looked_at) + cardinality(items), 2147483647)::integer
            ) g
            where g.item_id <> all (items) and (g.item_id = any (looked_at)) is not true
            order by g.position
            limit wanted - given;
    end if;
end
$$;
