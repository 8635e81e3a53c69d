-- Makes the login an app reads with. Run by an administrator, once, after `recjobs db migrate`:
--   READER_PASSWORD=… psql "$ADMIN_URL" -v login=shop -f make_reader.sql
\set ON_ERROR_STOP on
\getenv password READER_PASSWORD
create role :"login" login password :'password' connection limit 50 in role recs_reader;
-- Limits belong to the role and not to the connection: they hold behind PgBouncer too.
alter role :"login" set statement_timeout = '500ms';
alter role :"login" set idle_in_transaction_session_timeout = '10s';
