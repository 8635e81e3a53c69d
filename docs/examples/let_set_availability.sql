-- Lets a login say which items are sold out, and nothing else. Run by an administrator, or a login in recs_writer:
--   recjobs db psql -- -v login=stock -f let_set_availability.sql
\set ON_ERROR_STOP on
\if :{?login}
\else
\warn 'Name the login: -v login=shop'
\endif
begin;
set local role recs_writer;
grant usage on schema recs to :"login";
grant select, insert, update, delete on recs.item_availability to :"login";
commit;
