-- The first n available items for a visitor who has just looked at `item_ids` (in that order, the latest last),
-- whatever last night knew of them: the similar items of the last 50, each item's share falling by a fifth with
-- every step back, equal scores by item id. What was looked at is left out. Where that gives too few (an unknown
-- item, an empty or null array) everybody's list of the home surface fills up. A null n is 20.
create or replace function {schema}.session_list(item_ids text[], n integer default 20)
returns table ("position" integer, item_id text, score real, reason text)
language plpgsql stable parallel safe rows 20
as $$
declare
    live_now constant integer := (select p.generation from {schema}.live_pointer p);
    wanted constant integer := greatest(coalesce(session_list.n, 20), 0);
    looked_at constant text[] := coalesce(
        session_list.item_ids[greatest(1, cardinality(session_list.item_ids) - 49):], '{{}}'
    );
    given text[] := '{{}}';
    merged record;
begin
    for merged in
        with latest as (
            select u.item_id, row_number() over (order by max(u.place) desc) - 1 as steps_back
            from unnest(looked_at) with ordinality as u (item_id, place)
            where u.item_id is not null
            group by u.item_id
        )
        select
            e.item_id,
            sum(e.score * power(0.8, s.steps_back))::real as score,
            (array_agg(s.item_id order by e.score * power(0.8, s.steps_back) desc, s.steps_back))[1] as because
        from latest s
        join {schema}.stored_item_lists l on l.generation = live_now and l.item_id = s.item_id
        cross join lateral unnest(l.items, l.scores) as e (item_id, score)
        where e.item_id <> all (looked_at)
            and not exists (select from {schema}.unavailable_items a where a.item_id = e.item_id)
        group by e.item_id
        order by 2 desc, e.item_id
        limit wanted
    loop
        given := given || merged.item_id;
        session_list.position := cardinality(given);
        session_list.item_id := merged.item_id;
        session_list.score := merged.score;
        session_list.reason := 'similar to ' || merged.because;
        return next;
    end loop;
    if cardinality(given) < wanted then
        return query
            select (cardinality(given) + row_number() over (order by g.position))::integer, g.item_id, g.score, g.reason
            from {schema}.get_list(null, 'home', wanted + cardinality(looked_at) + cardinality(given)) g
            where g.item_id <> all (given) and (g.item_id = any (looked_at)) is not true
            order by g.position
            limit wanted - cardinality(given);
    end if;
end
$$;
