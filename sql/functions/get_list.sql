-- The first n available items for a user on a surface, best first: from the user's own list, and where it has
-- too few (an unknown user, or sold out) from the segment's list, then from everybody's.
-- `segment` helps with users unknown to us: 'country=DE'. No rows for a surface that is not published.
-- A null user is unknown, a null surface is home, a null n is 20.
-- All in one snapshot: the caller's statement sees one generation even while another is promoted.
--
-- One generic plan a session (a custom one would be planned at every call, for every partition), of index probes
-- only, however small a table was when the session began.
create or replace function {schema}.get_list(
    user_id text,
    surface text default 'home',
    n integer default 20,
    segment text default null
)
returns table ("position" integer, item_id text, score real, reason text)
language plpgsql stable parallel safe rows 20
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set jit = off
as $$
declare
    -- The live generation, read once.
    live_now constant integer := (select p.generation from {schema}.live_pointer p);
    wanted_surface constant text := coalesce(get_list.surface, 'home');
    wanted constant integer := greatest(coalesce(get_list.n, 20), 0);
    items text[];
    scores real[];
    reasons text[];
    reason_of bytea;
    gone text[];
    head integer;
    given integer := 0;
    fresh integer;
    seen text[] := '{{}}';
begin
    for source in 1..3 loop
        exit when given >= wanted;
        -- Only a little more than is wanted is probed for items that are gone; the whole list where that was too little.
        head := least(wanted + wanted / 4::bigint + 2 + cardinality(seen), 2147483647);
        if source = 1 then
            select
                l.items, l.scores, l.reasons, l.reason_of,
                array(select a.item_id from {schema}.unavailable_items a where a.item_id = any (l.items[:head]))
            into items, scores, reasons, reason_of, gone
            from {schema}.stored_user_lists l
            where l.generation = live_now and l.user_id = get_list.user_id and l.surface = wanted_surface;
        else
            continue when source = 2 and (get_list.segment is null or get_list.segment = 'all');
            select
                l.items, l.scores, l.reasons, l.reason_of,
                array(select a.item_id from {schema}.unavailable_items a where a.item_id = any (l.items[:head]))
            into items, scores, reasons, reason_of, gone
            from {schema}.stored_segment_lists l
            where l.generation = live_now and l.surface = wanted_surface
                and l.segment = case source when 2 then get_list.segment else 'all' end;
        end if;
        continue when not found;
        gone := seen || gone;
        if head < cardinality(items) and head - cardinality(gone) < wanted - given then
            head := cardinality(items);
            gone := seen || array(select a.item_id from {schema}.unavailable_items a where a.item_id = any (items));
        end if;
        if gone = '{{}}' then
            return query
                select
                    e.place::integer, e.item_id, e.score,
                    reasons[
                        get_byte(reason_of, 2 * e.place::integer - 2) * 256
                        + get_byte(reason_of, 2 * e.place::integer - 1)
                    ]
                from unnest(items[:wanted], scores[:wanted]) with ordinality as e (item_id, score, place);
        else
            return query
                select
                    (given + row_number() over (order by e.place))::integer, e.item_id, e.score,
                    reasons[
                        get_byte(reason_of, 2 * e.place::integer - 2) * 256
                        + get_byte(reason_of, 2 * e.place::integer - 1)
                    ]
                from unnest(items[:head], scores[:head]) with ordinality as e (item_id, score, place)
                where e.item_id <> all (gone)
                order by e.place
                limit wanted - given;
        end if;
        get diagnostics fresh = row_count;
        given := given + fresh;
        seen := seen || items;
    end loop;
end
$$;
