#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::k8s_file::check(input));
