//! A Redis that runs the real script: its few commands over maps, by its conventions. Every number is kept as text, an answer is made
//! of bulk strings, and what the script returns is cut down to whole numbers.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use carillon_server::quota::wire::SCRIPT;
use mlua::{Function, Lua, Table, Value, Variadic};

/// Fields of one HSCAN page. Fewer than the script asks for, as a Redis is free to answer: every sweep then takes several.
const PAGE: usize = 3;
/// The tenant's keys.
pub const KEYS: [&str; 3] = ["pods", "users", "rooms"];

/// All that Redis keeps: hashes by key.
pub type Data = BTreeMap<String, BTreeMap<String, String>>;

/// A Redis and its interpreter.
pub struct FakeRedis {
    lua: Lua,
    script: Function,
    store: Rc<RefCell<Store>>,
}

#[derive(Default)]
struct Store {
    data: Data,
    wall_ms: u64,
}

impl FakeRedis {
    /// An empty one.
    pub fn new() -> Self {
        let lua = Lua::new();
        let store = Rc::new(RefCell::new(Store::default()));
        let calls = store.clone();
        let call = lua
            .create_function(move |lua, (command, arguments): (String, Variadic<Value>)| {
                let arguments: Vec<String> = arguments.iter().map(text).collect();
                calls.borrow_mut().call(lua, &command, &arguments)
            })
            .expect("a function");
        let redis = lua.create_table().expect("a table");
        redis.set("call", call).expect("a field");
        lua.globals().set("redis", redis).expect("a global");
        lua.globals().set("KEYS", KEYS.to_vec()).expect("a global");
        let script = lua.load(SCRIPT).set_name("lease.lua").into_function().expect("the script is Lua 5.1");
        Self { lua, script, store }
    }

    /// Runs the script at that time by the clock of Redis.
    pub fn run(&self, wall_ms: u64, arguments: &[String]) -> Vec<i64> {
        self.store.borrow_mut().wall_ms = wall_ms;
        self.lua.globals().set("ARGV", arguments).expect("a global");
        let reply: Table = self.script.call(()).unwrap_or_else(|error| panic!("the script fails: {error}"));
        // Redis cuts what comes after the point.
        #[expect(clippy::cast_possible_truncation, reason = "as Redis does")]
        reply.sequence_values::<f64>().map(|number| number.expect("a number") as i64).collect()
    }

    /// All it keeps.
    pub fn data(&self) -> Data {
        self.store.borrow().data.clone()
    }

    /// Makes it keep that and nothing else.
    pub fn restore(&self, data: Data) {
        self.store.borrow_mut().data = data;
    }

    /// Fields of one of its hashes.
    pub fn len(&self, key: &str) -> usize {
        self.store.borrow().data.get(key).map_or(0, BTreeMap::len)
    }
}

impl Store {
    fn call(&mut self, lua: &Lua, command: &str, arguments: &[String]) -> mlua::Result<Value> {
        let string = |text: &str| lua.create_string(text).map(Value::String);
        let strings = |texts: Vec<String>| lua.create_sequence_from(texts).map(Value::Table);
        let key = arguments.first().cloned().unwrap_or_default();
        let rest = arguments.get(1..).unwrap_or_default();
        let number = |number: usize| Value::Number(u32::try_from(number).expect("small").into());
        match command {
            "TIME" => strings(vec![(self.wall_ms / 1000).to_string(), (self.wall_ms % 1000 * 1000 + 7).to_string()]),
            "HGETALL" => {
                let fields = self.data.get(&key).into_iter().flatten();
                strings(fields.flat_map(|(field, value)| [field.clone(), value.clone()]).collect())
            }
            "HGET" => match self.data.get(&key).and_then(|hash| hash.get(&rest[0])) {
                Some(value) => string(value),
                None => Ok(Value::Boolean(false)),
            },
            "HSET" => {
                assert!(!rest.is_empty() && rest.len().is_multiple_of(2), "wrong number of arguments for HSET: {rest:?}");
                let hash = self.data.entry(key).or_default();
                for pair in rest.chunks_exact(2) {
                    hash.insert(pair[0].clone(), pair[1].clone());
                }
                Ok(number(rest.len() / 2))
            }
            "HDEL" => {
                assert!(!rest.is_empty(), "wrong number of arguments for HDEL");
                let Some(hash) = self.data.get_mut(&key) else { return Ok(number(0)) };
                let removed = rest.iter().filter(|field| hash.remove(*field).is_some()).count();
                if hash.is_empty() {
                    self.data.remove(&key);
                }
                Ok(number(removed))
            }
            "HLEN" => Ok(number(self.data.get(&key).map_or(0, BTreeMap::len))),
            "HSCAN" => {
                // The cursor counts fields that were passed by; what is deleted behind it must not make it skip others, so it is a
                // hash of the field, as in Redis.
                let cursor: u64 = rest[0].parse().expect("a cursor");
                let mut fields: Vec<_> =
                    self.data.get(&key).into_iter().flatten().map(|(field, value)| (place(field), field, value)).collect();
                fields.sort();
                fields.retain(|(place, ..)| *place > cursor);
                let next = if fields.len() > PAGE { fields[PAGE - 1].0 } else { 0 };
                let page = fields.into_iter().take(PAGE).flat_map(|(_, field, value)| [field.clone(), value.clone()]).collect();
                let reply = lua.create_table()?;
                reply.set(1, next.to_string())?;
                reply.set(2, strings(page)?)?;
                Ok(Value::Table(reply))
            }
            "PEXPIRE" => Ok(number(usize::from(self.data.contains_key(&key)))),
            "DEL" | "UNLINK" => Ok(number(arguments.iter().filter(|key| self.data.remove(*key).is_some()).count())),
            _ => panic!("this Redis knows no {command}"),
        }
    }
}

/// Where a field stands in the order of HSCAN, which has nothing to do with its name.
fn place(field: &str) -> u64 {
    field.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)) | 1
}

/// An argument as Redis takes it from Lua.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.to_string_lossy().clone(),
        Value::Integer(number) => number.to_string(),
        Value::Number(number) => number.to_string(),
        _ => panic!("Redis takes strings and numbers, not {value:?}"),
    }
}
