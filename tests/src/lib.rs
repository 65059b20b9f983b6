//! The harness: a private engine, hurtful peers, and witnesses.
