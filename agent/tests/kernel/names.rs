//! Whom a connection is said to be with.

use std::{
    fs, io,
    os::fd::AsRawFd as _,
    os::unix::ffi::OsStrExt as _,
    ptr,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    mm::{MapFlags, ProtFlags, mmap_anonymous, munmap},
    net::{AddressFamily, SocketType, listen, socket},
    thread::gettid,
};

use super::{entry, fixture};

/// Until the thread waits in `connect`.
fn wait_for_connect(thread: i32) {
    const PATIENCE: Duration = Duration::from_secs(60);
    let begin = Instant::now();
    let number = format!("{} ", libc::SYS_connect);
    let path = format!("/proc/self/task/{thread}/syscall");
    while !fs::read_to_string(&path).is_ok_and(|call| call.starts_with(&number)) {
        assert!(begin.elapsed() < PATIENCE, "it does not wait in `connect`");
        thread::sleep(Duration::from_millis(1));
    }
}

/// A `connect` waits for room in the listener's queue, and the memory with its address is gone when it returns. The kernel itself
/// takes memory away for a moment, to move it; so a name that cannot be read is no rarity that may be lost.
#[test]
fn an_address_that_is_gone_when_connect_returns() {
    const SIZE: usize = 4096;
    let Some(fixture) = fixture() else { return };
    // One more than this may wait to be accepted.
    listen(&fixture.server, 0).unwrap();
    let first = fixture.connect();
    let client = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();

    // SAFETY: a new mapping, at an address of the kernel's choice.
    let memory = unsafe {
        mmap_anonymous(
            ptr::null_mut(),
            SIZE,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE,
        )
    };
    let address = memory.unwrap().cast::<libc::sockaddr_un>();
    let name = fixture.path.as_os_str().as_bytes();
    // SAFETY: the mapping is larger than the address, aligned, and all zero; the name is shorter than `sun_path`.
    unsafe {
        (*address).sun_family = libc::AF_UNIX as libc::sa_family_t;
        ptr::copy_nonoverlapping(name.as_ptr(), (&raw mut (*address).sun_path).cast(), name.len());
    }
    let (fd, at) = (client.as_raw_fd(), address as usize);
    let _accepted = thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        let connecting = scope.spawn(move || {
            tell.send(gettid().as_raw_nonzero().get()).unwrap();
            // SAFETY: the kernel has copied the address before the call can wait, and until then it is there.
            let result =
                unsafe { libc::connect(fd, at as *const libc::sockaddr, size_of::<libc::sockaddr_un>() as u32) };
            if result == 0 {
                Ok(())
            } else {
                Err(io::Error::last_os_error())
            }
        });
        wait_for_connect(told.recv().unwrap());
        // SAFETY: nothing else points there.
        unsafe { munmap(address.cast(), SIZE) }.unwrap();
        let accepted = fixture.server.accept().unwrap();
        connecting.join().unwrap().unwrap();
        accepted
    });

    let snapshot = fixture.checked();
    assert_eq!(entry(&snapshot, &client).peer, fixture.path.to_str().unwrap());
    assert_eq!(fixture.totals(&snapshot).opened, 2);
    drop((first, client));
    fixture.assert_all_closed(2);
}
