-- Users who asked to be forgotten, by the digest of their id: SHA-256 of data set, a zero byte and the id, in UTF-8.
-- No rows of theirs may be live, whatever loads or is promoted. Written under the schema's lock alone.
create table {schema}.forgotten_users (
    digest text collate "C" primary key check (digest ~ '^[0-9a-f]{{64}}$'),
    dataset text not null,
    forgotten_at timestamptz not null default clock_timestamp(),
    -- When their rows were gone from every table that could be seen; null while that is not done.
    removed_at timestamptz,
    who text not null,
    why text not null
);

-- Until when a generation is known to hold nobody forgotten: later tombstones are looked for when it goes live.
alter table {schema}.generations add column cleared_at timestamptz;
-- How many of its user lists went because their users were forgotten; `counts` stays what was loaded.
alter table {schema}.generations add column forgotten_rows integer not null default 0;

alter table {schema}.audit drop constraint audit_action_check;
alter table {schema}.audit add constraint audit_action_check check (
    action in ('publish', 'promote', 'rollback', 'prune', 'forget', 'unforget')
);
-- Whom `forget` and `unforget` are about, by digest: no generation.
alter table {schema}.audit add column subject text;
alter table {schema}.audit alter column generation drop not null;
alter table {schema}.audit add constraint audit_names_its_object check (
    case when action in ('forget', 'unforget') then subject is not null else generation is not null end
);
