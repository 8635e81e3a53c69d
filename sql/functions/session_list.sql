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
    -- Each once, the latest first.
    recent constant text[] := array(
        select u.item_id
        from unnest(looked_at) with ordinality as u (item_id, place)
        where u.item_id is not null
        group by u.item_id
        order by max(u.place) desc
    );
    items text[];
    scores real[];
    because text[];
    gone text[];
    head bigint;
    given integer;
begin
    -- First a little more than is wanted; all there is where too many of those are gone.
    foreach head in array array[wanted::bigint + wanted / 4 + 2, null] loop
        select array_agg(m.item_id), array_agg(m.score), array_agg(recent[64 - (m.most & 63)])
        into items, scores, because
        from (
            select
                e.item_id,
                sum(e.score * s.weight)::real as score,
                -- The largest share and, in the lowest six bits, whose it is: the latest of equal ones.
                max((round(e.score * s.weight * 1e9)::bigint << 6) | (64 - s.place)) as most
            from (
                select u.item_id, u.place, power(0.8::double precision, u.place - 1) as weight
                from unnest(recent) with ordinality as u (item_id, place)
            ) s
            join {schema}.stored_item_lists l on l.generation = live_now and l.item_id = s.item_id
            cross join lateral unnest(l.items, l.scores) as e (item_id, score)
            where e.item_id <> all (recent)
            group by e.item_id
            order by 2 desc, e.item_id collate "C"
            limit head
        ) m;
        gone := array(select a.item_id from {schema}.unavailable_items a where a.item_id = any (items));
        exit when cardinality(items) - cardinality(gone) >= wanted or cardinality(items) < head;
    end loop;
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
                least(wanted::bigint + cardinality(recent) + cardinality(items), 2147483647)::integer
            ) g
            where g.item_id <> all (items) and g.item_id <> all (recent)
            order by g.position
            limit wanted - given;
    end if;
end
$$;
