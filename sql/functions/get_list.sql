-- The first n available items for a user on a surface, best first: from the user's own list, and where it has
-- too few (an unknown user, or sold out) from the segment's list, then from everybody's.
-- `segment` helps with users unknown to us: 'country=DE'. No rows for a surface that is not published.
-- A null user is unknown, a null surface is home, a null n is 20.
-- All in one snapshot: the caller's statement sees one generation even while another is promoted.
create or replace function {schema}.get_list(
    user_id text,
    surface text default 'home',
    n integer default 20,
    segment text default null
)
returns table ("position" integer, item_id text, score real, reason text)
language plpgsql stable parallel safe rows 20
as $$
declare
    -- The live generation, read once.
    live_now constant integer := (select p.generation from {schema}.live_pointer p);
    wanted_surface constant text := coalesce(get_list.surface, 'home');
    wanted constant integer := coalesce(get_list.n, 20);
    items text[];
    scores real[];
    reasons text[];
    given integer := 0;
    fresh integer;
    seen text[] := '{{}}';
begin
    for source in 1..3 loop
        exit when given >= wanted;
        if source = 1 then
            select l.items, l.scores, l.reasons into items, scores, reasons
            from {schema}.stored_user_lists l
            where l.generation = live_now and l.user_id = get_list.user_id and l.surface = wanted_surface;
        else
            continue when source = 2 and (get_list.segment is null or get_list.segment = 'all');
            select l.items, l.scores, l.reasons into items, scores, reasons
            from {schema}.stored_segment_lists l
            where l.generation = live_now and l.surface = wanted_surface
                and l.segment = case source when 2 then get_list.segment else 'all' end;
        end if;
        continue when not found;
        return query
            select (given + row_number() over (order by e.place))::integer, e.item_id, e.score, e.reason
            from unnest(items, scores, reasons) with ordinality as e (item_id, score, reason, place)
            where not exists (select from {schema}.unavailable_items a where a.item_id = e.item_id)
                and (given = 0 or e.item_id <> all (seen))
            order by e.place
            limit wanted - given;
        get diagnostics fresh = row_count;
        given := given + fresh;
        seen := seen || items;
    end loop;
end
$$;
