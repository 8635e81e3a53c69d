-- Lists are packed (docs/decisions/0005): item ids as one text, joined by the unit separator U+001F, which no id may
-- hold; each distinct reason of a list once, and by item its place among them, from 1, in two bytes.
-- Rewrites what is stored, so readers wait while it runs: a moment for a demo, a minute for millions of lists.
drop view if exists {schema}.lists;
drop view if exists {schema}.stored_user_lists;
drop view if exists {schema}.stored_segment_lists;
drop view if exists {schema}.stored_item_lists;

alter table {schema}.user_lists
    alter column items type text using array_to_string(items, chr(31)),
    add column reason_of bytea;
update {schema}.user_lists set reason_of = coalesce(
    (select string_agg(int2send(place::smallint), '' order by place) from generate_series(1, cardinality(reasons)) place),
    ''
);
alter table {schema}.user_lists alter column reason_of set not null;

alter table {schema}.segment_lists
    alter column items type text using array_to_string(items, chr(31)),
    add column reason_of bytea;
update {schema}.segment_lists set reason_of = coalesce(
    (select string_agg(int2send(place::smallint), '' order by place) from generate_series(1, cardinality(reasons)) place),
    ''
);
alter table {schema}.segment_lists alter column reason_of set not null;

alter table {schema}.item_lists
    alter column items type text using array_to_string(items, chr(31));

-- It has more arguments now, which would make a second function beside it.
drop function if exists {schema}.session_list(text[], integer);
