-- Every way to read, in plain SQL:
--   psql "$DATABASE_URL" -v user_id=u17 -v segment=country=GB -v item_id=i42 -f read.sql
\set ON_ERROR_STOP on

-- A user's list. Where it is too short or there is none: the segment's, then everybody's.
select position, item_id, reason from recs.get_list(:'user_id', 'home', 3);

-- A visitor nobody knows, from a country that has a list.
select position, item_id, reason from recs.get_list(null, 'home', 3, :'segment');

-- Beside an item, and after the items that a visitor has just looked at, the latest last.
select position, item_id, reason from recs.similar_items(:'item_id', 3);
select position, item_id, reason from recs.session_list(array[:'item_id'], 3);

-- Planned once per connection.
prepare home (text, integer) as select position, item_id, reason from recs.get_list($1, 'home', $2);
execute home(:'user_id', 3);

-- For people: the live lists as a view, and a list as it was on a date. Name the user, else all of them are read.
select position, item_id, reason from recs.lists where user_id = :'user_id' and surface = 'home' order by 1 limit 3;
select ds, items[1] from recs.lists_as_of(current_date) where user_id = :'user_id' and surface = 'home';

-- Two lists of the same night for sure, even while the next one goes live. Keep such transactions short.
begin transaction isolation level repeatable read read only;
select item_id from recs.get_list(:'user_id', 'home', 1);
select item_id from recs.get_list(:'user_id', 'email', 1);
commit;
