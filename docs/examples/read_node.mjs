// Reads lists with node-postgres and its pool: `DATABASE_URL=… node read_node.mjs USER SEGMENT ITEM`.
import process from "node:process";
import { pathToFileURL } from "node:url";
import pg from "pg";

const KEEP_MS = 300_000;

/** One for the whole process. */
export function openLists(connectionString) {
  const pool = new pg.Pool({
    connectionString,
    max: 8,
    connectionTimeoutMillis: 500, // for a connection: a free one, or a new one
    query_timeout: 1000, // for an answer, also over a network that lost the server
    idleTimeoutMillis: 60_000,
    keepAlive: true,
  });
  // A connection that breaks while nobody uses it leaves the pool; unheard, the event would end the process.
  pool.on("error", (error) => console.warn(`lists: ${error.message}`));

  let everybody = [];
  let keptAt = -Infinity;

  // A statement with a name is prepared once per connection.
  const read = async (name, text, values) => (await pool.query({ name, text, values })).rows;

  async function keepEverybodys() {
    if (performance.now() - keptAt > KEEP_MS) {
      everybody = await read("recs-everybody", "select item_id, reason from recs.get_list(null, 'home', 100)", []);
      keptAt = performance.now();
    }
  }

  return {
    /** The user's list; while the database does not answer the last one of everybody, which may be empty. */
    async home(userId, segment = null, n = 20) {
      try {
        await keepEverybodys();
        const text = "select item_id, reason from recs.get_list($1, 'home', $2, $3)";
        return await read("recs-home", text, [userId, n, segment]);
      } catch (error) {
        warn(error);
        return everybody.slice(0, n);
      }
    },

    /** Items like this one; none while the database does not answer. */
    async similar(itemId, n = 20) {
      try {
        return await read("recs-similar", "select item_id, reason from recs.similar_items($1, $2)", [itemId, n]);
      } catch (error) {
        warn(error);
        return [];
      }
    },

    /** What follows from the items just looked at, the latest last; none while the database does not answer. */
    async session(itemIds, n = 20) {
      try {
        return await read("recs-session", "select item_id, reason from recs.session_list($1, $2)", [itemIds, n]);
      } catch (error) {
        warn(error);
        return [];
      }
    },

    close: () => pool.end(),
  };
}

/** Down or too slow is no reason to fail a page; a right or a function that is missing (class 42) is a mistake. */
function warn(error) {
  if (/^42.{3}$/.test(error.code ?? "")) throw error;
  console.warn(`lists: ${error.message || error.code}`);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const [user, segment, item] = process.argv.slice(2);
  const lists = openLists(process.env.DATABASE_URL);
  const answers = {
    home: await lists.home(user, null, 3),
    stranger: await lists.home(null, segment, 3),
    similar: await lists.similar(item, 3),
    session: await lists.session([item], 3),
  };
  await lists.close();
  const ids = Object.entries(answers).map(([name, items]) => [name, items.map((found) => found.item_id)]);
  console.log(JSON.stringify(Object.fromEntries(ids)));
}
