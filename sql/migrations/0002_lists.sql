-- One row per key with arrays, best first; one partition per generation, filled alone and then attached.
-- Keys compare by bytes ("C"): faster, and the same whatever the server's locale.
create table {schema}.user_lists (
    generation integer not null,
    surface text collate "C" not null,
    user_id text collate "C" not null,
    items text[] not null,
    scores real[] not null,
    reasons text[] not null,
    regime text not null,
    primary key (generation, user_id, surface)
) partition by list (generation);

create table {schema}.item_lists (
    generation integer not null,
    item_id text collate "C" not null,
    items text[] not null,
    scores real[] not null,
    primary key (generation, item_id)
) partition by list (generation);

create table {schema}.segment_lists (
    generation integer not null,
    surface text collate "C" not null,
    segment text collate "C" not null,
    items text[] not null,
    scores real[] not null,
    reasons text[] not null,
    primary key (generation, segment, surface)
) partition by list (generation);

-- The app's own table: an item not in it is available.
create table {schema}.item_availability (
    item_id text collate "C" primary key,
    available boolean not null,
    changed_at timestamptz not null default clock_timestamp()
);
-- Reads look only for items that are gone, mostly few.
create index item_unavailable on {schema}.item_availability (item_id) where not available;
