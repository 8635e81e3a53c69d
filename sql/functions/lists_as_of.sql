-- The lists that the data until `as_of` gave: those of the newest generation with ds <= as_of, a row per user and
-- surface, also where it never went live. No rows when there is none, or its lists are pruned by now.
-- Name the user, and Postgres reads one row: `from recs.lists_as_of('2026-01-31') where user_id = '17850'`.
create or replace function {schema}.lists_as_of(as_of date)
returns table (
    ds date, seq integer, surface text, user_id text, items text[], scores real[], reasons text[], regime text
)
language sql stable parallel safe
as $$
    select v.ds, v.seq, l.surface, l.user_id, l.items, l.scores,
        array(
            select l.reasons[get_byte(l.reason_of, place) * 256 + get_byte(l.reason_of, place + 1)]
            from generate_series(0, length(l.reason_of) - 2, 2) as place
            order by place
        ),
        l.regime
    from {schema}.versions v
    join {schema}.stored_user_lists l using (generation)
    where v.generation = (
        select w.generation
        from {schema}.versions w
        where w.ds <= $1 and w.state in ('ready', 'live', 'superseded')
        order by w.ds desc, w.seq desc
        limit 1
    )
$$;
