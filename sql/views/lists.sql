-- For people who only want SELECT: a row per recommendation of the live generation, unavailable items left out.
-- Name the user and the surface, and Postgres reads one row: `where user_id = '17850' and surface = 'home'`.
create or replace view {schema}.lists as
select
    u.surface, u.user_id, e.position::integer as position, e.item_id, e.score,
    u.reasons[
        get_byte(u.reason_of, 2 * e.position::integer - 2) * 256 + get_byte(u.reason_of, 2 * e.position::integer - 1)
    ] as reason,
    u.generation
from {schema}.user_lists u
cross join lateral
    unnest(string_to_array(u.items, chr(31)), u.scores) with ordinality as e (item_id, score, position)
where u.generation = (select l.generation from {schema}.live l)
    and not exists (
        select from {schema}.item_availability a
        where a.item_id = e.item_id and not a.available
    );
