-- Takes items out of every list, or back in, from the next read on:
--   psql "$DATABASE_URL" -v item_ids='{"i1","i2"}' -v available=false -f set_availability.sql
\set ON_ERROR_STOP on
insert into recs.item_availability as known (item_id, available)
select distinct unnest(:'item_ids'::text[]), :'available'::boolean
-- Always in the same order, so that two at once do not deadlock.
order by 1
on conflict (item_id) do update set available = excluded.available, changed_at = clock_timestamp()
-- What is said already is not written again.
where known.available is distinct from excluded.available;
