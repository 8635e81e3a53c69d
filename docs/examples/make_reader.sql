-- Makes the login an app reads with. Run it once, after `recjobs db migrate`, with a URL that may make roles:
--   READER_PASSWORD=… recjobs db psql -- -v login=shop -f make_reader.sql
\set ON_ERROR_STOP on
\if :{?login}
\else
\warn 'Name the login: -v login=shop'
\endif
\getenv password READER_PASSWORD
\if :{?password}
\else
\warn 'Put its password into the environment, as READER_PASSWORD.'
\endif
create role :"login" login password :'password' connection limit 50 in role recs_reader;
-- Limits belong to the role and not to the connection: they hold behind PgBouncer too.
alter role :"login" set statement_timeout = '500ms';
alter role :"login" set idle_in_transaction_session_timeout = '10s';
