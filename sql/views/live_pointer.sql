-- The live generation's number alone: what every read starts from, one row of one page.
create or replace view {schema}.live_pointer as
select generation from {schema}.live
where singleton;
