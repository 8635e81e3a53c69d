-- What runs publish. A generation is numbered (ds, seq) for people and by `generation` inside.
-- Rows are kept for good, also when the lists are pruned: the fence needs the highest that ever was live.
create table {schema}.generations (
    generation integer generated always as identity primary key,
    dataset text not null,
    ds date not null,
    seq integer not null check (seq >= 1),
    run text not null,
    state text not null check (state in ('loading', 'ready', 'live', 'superseded', 'rejected')),
    counts jsonb not null default '{{}}',
    checksum text,
    versions jsonb not null default '{{}}',
    metrics jsonb not null default '{{}}',
    gate jsonb not null default '[]',
    created_at timestamptz not null default clock_timestamp(),
    loaded_at timestamptz,
    first_live_at timestamptz,
    last_live_at timestamptz,
    pruned_at timestamptz,
    unique (ds, seq),
    unique (dataset, ds, run)
);

-- The one pointer. Readers find their generation here and nowhere else.
create table {schema}.live (
    singleton boolean primary key default true check (singleton),
    generation integer not null references {schema}.generations
);

-- Who made which generation live, and why. `forced` means that the fence said no.
create table {schema}.audit (
    id bigint generated always as identity primary key,
    at timestamptz not null default clock_timestamp(),
    action text not null check (action in ('publish', 'promote', 'rollback', 'prune')),
    generation integer not null references {schema}.generations,
    replaced integer references {schema}.generations,
    forced boolean not null default false,
    who text not null,
    why text not null
);
