//! What the tests from outside share: the cluster of the run, its objects, and what the API server recorded.
//!
//! Nothing of the product is linked but the names in `stowage-api`: a test sees what a user sees.

mod audit;
mod lab;
mod machine;
mod manager;
mod node;
mod pool;
mod right;

pub use audit::{Audit, Request};
pub use lab::{LIMIT, Lab, MANAGERS, NAMESPACE, Outcome, RELEASE, SERVICE_ACCOUNT, finally};
pub use machine::FrozenApi;
pub use manager::Term;
pub use node::{Node, plain_node};
pub use pool::{RESOURCE, condition, is_settled, pool, pool_selecting, pool_with};
pub use right::Right;
