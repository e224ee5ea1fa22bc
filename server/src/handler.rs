//! How our own types become handlers of the engine.

/// Marks a type as a handler: the engine's traits are generic over the arguments of a function, and ours take none. A type instead of a
/// function is called on the connection's own task, in order, where a function would be spawned.
pub struct Handler;
