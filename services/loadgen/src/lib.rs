//! `snug-load`: how fast nodes are, measured from outside through the real protocol, and how fast anything could be.
//!
//! # How it measures
//! - **Open loop.** Every message has its intended time before a step begins; latency counts from there, however late the tool or a node
//!   was (no coordinated omission). Envelopes are sealed and signed by the SDK before the step, each once, and look like any client's.
//! - **Checked while it measures.** Each delivery is compared with what was sealed by position in the log, room, writer, counter and the
//!   end of the authentication tag ([`script`]): what is lost, comes twice, out of order, or in another order on another socket is
//!   counted, and a step with any of it does not count as sustained; nor does one that is given up while the fate of a message is not known.
//! - **Two goes.** The highest rate is looked for in steps of some seconds; one is too much if two steps at it are not sustained, since a
//!   machine that stands still for a second would else decide what comes out.
//! - **Cheap receivers.** A few threads with one `epoll` each, one large read buffer a thread, and a parser that looks at frame and
//!   envelope headers only ([`receiver`]). No task and no buffer a socket.
//! - **The floor.** The same frames to the same number of sockets from a process that does nothing but non-blocking writes
//!   ([`floor`]), received and checked by the same receivers. Results are ratios to it, from the same run.
//! - **As if on machines of its own.** A delivery has come when the kernel has it (`SO_TIMESTAMPNS`; of several read at once, the last
//!   of them), not when the tool gets a core that nodes keep busy too. A receiver that has to wait for a core goes before others,
//!   where it may, and rests as long as it has worked, 5 ms at most (`receiver::pace`). What it sends late counts as latency all the same.
//! - **Its own ceiling.** How busy its threads were, how long they waited for a core, and how late they sent and read (99 of a hundred)
//!   stands beside every figure; a step in which the tool may have been the bottleneck says so. What it receives from the floor is its
//!   ceiling.
//!
//! # What is made cheaper than in life, and why that is fair
//! Members join by an invite, through the real calls: a server compares those without Argon2, so a thousand take seconds. No password is
//! hashed by the tool itself: a server cannot tell a derived proof from a random one. Client frames are masked with zeros, which costs
//! the server the same. Envelopes claim to have seen nothing before them (`prev`), which no server can read.
//!
//! # Layout
//! [`people`] makes rooms and members over HTTP; [`field`] is all open sockets, dealt to receiver threads, and plays scripts; [`machine`]
//! reads `/proc`; [`scenario`] is what is measured; [`report`] says it as text, JSON and a page. Linux only. Absent: starting nodes or
//! databases, which is `tests`' business (`make bench`).

pub mod clock;
pub mod field;
pub mod figures;
pub mod floor;
pub mod frame;
pub mod machine;
pub mod observer;
pub mod people;
pub mod receiver;
pub mod report;
pub mod scenario;
pub mod script;
pub mod socket;
