//! What the kernel half and the agent share.
#![no_std]
