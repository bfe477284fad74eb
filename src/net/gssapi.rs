//! The system's Kerberos: `libgssapi_krb5`, which is loaded when the first client asks for it, and stays. It is called on
//! the threads of errands, for it may wait for a KDC or a resolver. It knows names, tickets and contexts, and neither
//! servers nor SASL.

#![expect(unsafe_code, reason = "a library in C, found when the program runs")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::transmute;
use std::ptr::{null, null_mut};
use std::slice;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::escape::Escaped;

/// MIT's, under the name that it has had since its version 1.7.
#[cfg(not(target_os = "macos"))]
const LIBRARY: &CStr = c"libgssapi_krb5.so.2";
#[cfg(target_os = "macos")]
const LIBRARY: &CStr = c"libgssapi_krb5.2.2.dylib";

/// The mechanism krb5 (RFC 4121).
const KRB5: &[u8] = b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x02";
/// `service@host`: which realm that is in, and what the host's full name is, is for krb5.conf to say.
const HOSTBASED_SERVICE: &[u8] = b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x01\x04";
/// `name/host@REALM`, of which the last two may be missing.
const PRINCIPAL: &[u8] = b"\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x01";

const INITIATE: c_int = 1;
const MUTUAL: u32 = 2;
const INTEGRITY: u32 = 32;
const CONTINUE_NEEDED: u32 = 1;
/// Where an error of the call or of the routine stands in a major status.
const ERRORS: u32 = 0xffff_0000;
/// The routine's errors that say nothing where there is a minor status: that no credentials are there, and any failure.
const SAY_NOTHING: [u32; 2] = [7 << 16, 13 << 16];
/// `KRB5_FCC_NOFILE`: there is no ticket cache. Where one was to be filled with a keytab, that has no key for it.
const NO_CACHE: u32 = -1_765_328_189_i32 as u32;
const OF_GSSAPI: c_int = 1;
const OF_MECHANISM: c_int = 2;

// Apple's headers pack the first two structures on that processor.
#[cfg_attr(not(all(target_os = "macos", target_arch = "x86_64")), repr(C))]
#[cfg_attr(all(target_os = "macos", target_arch = "x86_64"), repr(C, packed(2)))]
struct Buffer {
    length: usize,
    value: *mut c_void,
}

#[cfg_attr(not(all(target_os = "macos", target_arch = "x86_64")), repr(C))]
#[cfg_attr(all(target_os = "macos", target_arch = "x86_64"), repr(C, packed(2)))]
struct Oid {
    length: u32,
    elements: *const c_void,
}

#[repr(C)]
struct OidSet {
    count: usize,
    elements: *const Oid,
}

#[repr(C)]
struct KeyValue {
    key: *const c_char,
    value: *const c_char,
}

#[repr(C)]
struct KeyValueSet {
    count: u32,
    elements: *const KeyValue,
}

/// What a pointer to one of the library's own structures points to.
type Handle = *mut c_void;

macro_rules! functions {
    ($($name:ident($($argument:ty),*) -> $result:ty;)*) => {
        /// The functions that are used, by their names in C.
        struct Functions {
            $($name: unsafe extern "C" fn($($argument),*) -> $result,)*
        }

        impl Functions {
            fn find(library: Handle) -> Result<Functions, String> {
                Ok(Functions {
                    // SAFETY: a function of this name has these arguments, by RFC 2744 and by MIT's headers.
                    $($name: unsafe {
                        transmute::<Handle, unsafe extern "C" fn($($argument),*) -> $result>(
                            symbol(library, stringify!($name))?,
                        )
                    },)*
                })
            }
        }
    };
}

functions! {
    gss_import_name(*mut u32, *const Buffer, *const Oid, *mut Handle) -> u32;
    gss_display_name(*mut u32, Handle, *mut Buffer, *mut *mut Oid) -> u32;
    gss_release_name(*mut u32, *mut Handle) -> u32;
    gss_acquire_cred_from(
        *mut u32, Handle, u32, *const OidSet, c_int, *const KeyValueSet, *mut Handle, *mut *mut OidSet, *mut u32
    ) -> u32;
    gss_release_cred(*mut u32, *mut Handle) -> u32;
    gss_init_sec_context(
        *mut u32, Handle, *mut Handle, Handle, *const Oid, u32, u32, *const c_void, *const Buffer, *mut *mut Oid,
        *mut Buffer, *mut u32, *mut u32
    ) -> u32;
    gss_inquire_context(
        *mut u32, Handle, *mut Handle, *mut Handle, *mut u32, *mut *mut Oid, *mut u32, *mut c_int, *mut c_int
    ) -> u32;
    gss_delete_sec_context(*mut u32, *mut Handle, *mut Buffer) -> u32;
    gss_wrap(*mut u32, Handle, c_int, u32, *const Buffer, *mut c_int, *mut Buffer) -> u32;
    gss_unwrap(*mut u32, Handle, *const Buffer, *mut Buffer, *mut c_int, *mut u32) -> u32;
    gss_release_buffer(*mut u32, *mut Buffer) -> u32;
    gss_display_status(*mut u32, u32, c_int, *const Oid, *mut u32, *mut Buffer) -> u32;
    krb5_init_context(*mut Handle) -> i32;
    krb5_free_context(Handle) -> ();
    krb5_cc_resolve(Handle, *const c_char, *mut Handle) -> i32;
    krb5_cc_destroy(Handle, Handle) -> i32;
}

/// The address of a function; in one of the libraries that this one needs, if it is not in this one.
fn symbol(library: Handle, name: &str) -> Result<Handle, String> {
    let terminated = CString::new(name).expect("a name in C");
    // SAFETY: the library is loaded, and the name ends with a NUL.
    let address = unsafe { libc::dlsym(library, terminated.as_ptr()) };
    match address.is_null() {
        true => {
            Err(format!("{} has no {name}: MIT Kerberos 1.11 or later is needed", LIBRARY.to_string_lossy()))
        }
        false => Ok(address),
    }
}

/// The library, once it is loaded.
pub(super) struct Library(Functions);

impl Library {
    /// Loads it, unless that was done before. Says what to install if it is not there; whoever asks later may find it.
    pub(super) fn load() -> Result<&'static Library, String> {
        static LOADED: OnceLock<Library> = OnceLock::new();
        if let Some(library) = LOADED.get() {
            return Ok(library);
        }
        // SAFETY: the name ends with a NUL. What the library does when it is loaded, it does in every program that is
        // linked with it.
        let handle = unsafe { libc::dlopen(LIBRARY.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if handle.is_null() {
            // SAFETY: no arguments.
            let reason = unsafe { libc::dlerror() };
            let reason = match reason.is_null() {
                true => LIBRARY.to_string_lossy(),
                // SAFETY: a text, which is this thread's until its next call.
                false => unsafe { CStr::from_ptr(reason) }.to_string_lossy(),
            };
            return Err(format!(
                "it needs MIT Kerberos (Debian's package libgssapi-krb5-2, krb5-libs elsewhere): {}",
                Escaped(&reason)
            ));
        }
        // It is never closed: it has state of each thread that it was used on.
        let functions = Functions::find(handle)?;
        Ok(LOADED.get_or_init(|| Library(functions)))
    }

    fn check(&self, major: u32, minor: u32) -> Result<(), String> {
        match major & ERRORS {
            0 => Ok(()),
            _ => Err(self.message(major, minor)),
        }
    }

    /// What the library has to say of a failure. To be called on the thread that has seen it. A part of it may be what a
    /// KDC has sent.
    fn message(&self, major: u32, minor: u32) -> String {
        let mut texts = Vec::new();
        if minor == 0 || !SAY_NOTHING.contains(&(major & ERRORS)) {
            texts.push(self.text(major, OF_GSSAPI));
        }
        if minor != 0 {
            texts.push(self.text(minor, OF_MECHANISM));
        }
        // The mechanism has words for some of its own failures only.
        texts.retain(|text| !text.is_empty() && text != "Success" && text != "Unknown error");
        Escaped(&texts.join(": ")).to_string()
    }

    fn text(&self, status: u32, of: c_int) -> String {
        let (mut minor, mut more, krb5) = (0, 0, oid(KRB5));
        let mut text = Bytes::none(self);
        // SAFETY: all pointers are to values that live through the call. (One status may have several texts: the first
        // is of the error, which is all that this library makes.)
        let major = unsafe {
            (self.0.gss_display_status)(&mut minor, status, of, &krb5, &mut more, &mut text.buffer)
        };
        match major & ERRORS {
            0 => String::from_utf8_lossy(text.get()).trim().to_owned(),
            _ => format!("error {status:#x}"),
        }
    }

    fn name(&'static self, text: &str, kind: &'static [u8]) -> Result<Name, String> {
        if text.contains('\0') {
            return Err(format!("a NUL in {:?}", Escaped(text)));
        }
        let (mut minor, kind) = (0, oid(kind));
        let mut name = Name { library: self, handle: null_mut() };
        // SAFETY: all pointers are to values that live through the call, which copies what it needs.
        let major =
            unsafe { (self.0.gss_import_name)(&mut minor, &lent(text.as_bytes()), &kind, &mut name.handle) };
        self.check(major, minor).map(|()| name)
    }
}

fn oid(bytes: &'static [u8]) -> Oid {
    Oid { length: bytes.len() as u32, elements: bytes.as_ptr().cast() }
}

/// Bytes that a function reads and does not keep.
fn lent(bytes: &[u8]) -> Buffer {
    Buffer { length: bytes.len(), value: bytes.as_ptr().cast_mut().cast() }
}

/// Bytes that the library has allocated.
struct Bytes<'a> {
    library: &'a Library,
    buffer: Buffer,
}

impl<'a> Bytes<'a> {
    fn none(library: &'a Library) -> Bytes<'a> {
        Bytes { library, buffer: Buffer { length: 0, value: null_mut() } }
    }

    fn get(&self) -> &[u8] {
        match self.buffer.value.is_null() {
            true => &[],
            // SAFETY: the library has written as many bytes there, and they are there until `drop`.
            false => unsafe { slice::from_raw_parts(self.buffer.value.cast(), self.buffer.length) },
        }
    }
}

impl Drop for Bytes<'_> {
    fn drop(&mut self) {
        // SAFETY: it is empty, or what the library has allocated; nobody else releases it.
        unsafe { (self.library.0.gss_release_buffer)(&mut 0, &mut self.buffer) };
    }
}

struct Name {
    library: &'static Library,
    handle: Handle,
}

impl Drop for Name {
    fn drop(&mut self) {
        // SAFETY: none, or one that the library has made; nobody else releases it.
        unsafe { (self.library.0.gss_release_name)(&mut 0, &mut self.handle) };
    }
}

/// Tickets that are got with a keytab. They lie in this process's memory, and in no cache that others have a part in.
pub(super) struct TicketCache {
    library: &'static Library,
    name: CString,
}

impl TicketCache {
    /// An empty one.
    pub(super) fn new(library: &'static Library) -> TicketCache {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = format!("MEMORY:treecache-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        TicketCache { library, name: CString::new(name).expect("no NUL") }
    }

    /// Forgets all tickets; those to come go in again.
    pub(super) fn forget(&self) {
        let functions = &self.library.0;
        let (mut context, mut cache) = (null_mut(), null_mut());
        // SAFETY: what is made here is of use only if the call before has succeeded, and is given back once: `destroy`
        // releases the handle of the cache, whatever comes of it.
        unsafe {
            if (functions.krb5_init_context)(&mut context) != 0 {
                return;
            }
            if (functions.krb5_cc_resolve)(context, self.name.as_ptr(), &mut cache) == 0 {
                (functions.krb5_cc_destroy)(context, cache);
            }
            (functions.krb5_free_context)(context);
        }
    }
}

impl Drop for TicketCache {
    fn drop(&mut self) {
        self.forget();
    }
}

/// Who the client is, and by what it can show that.
pub(super) struct Credentials {
    library: &'static Library,
    handle: Handle,
}

impl Credentials {
    /// Those of `principal`, or of whoever comes first. With a keytab, and the cache for what is got with it; otherwise
    /// from the ticket cache that the system names.
    pub(super) fn acquire(
        library: &'static Library,
        principal: Option<&str>,
        keytab: Option<(&CStr, &TicketCache)>,
    ) -> Result<Credentials, String> {
        let name = principal.map(|principal| library.name(principal, PRINCIPAL)).transpose()?;
        let krb5 = oid(KRB5);
        let mechanisms = OidSet { count: 1, elements: &krb5 };
        let elements = keytab.map(|(keytab, cache)| {
            [
                KeyValue { key: c"client_keytab".as_ptr(), value: keytab.as_ptr() },
                KeyValue { key: c"ccache".as_ptr(), value: cache.name.as_ptr() },
            ]
        });
        let store = elements
            .as_ref()
            .map(|elements| KeyValueSet { count: elements.len() as u32, elements: elements.as_ptr() });
        let mut minor = 0;
        let mut credentials = Credentials { library, handle: null_mut() };
        // SAFETY: all pointers are to values that live through the call, or NULL where that is allowed.
        let major = unsafe {
            (library.0.gss_acquire_cred_from)(
                &mut minor,
                name.as_ref().map_or(null_mut(), |name| name.handle),
                0,
                &mechanisms,
                INITIATE,
                store.as_ref().map_or(null(), |store| store),
                &mut credentials.handle,
                null_mut(),
                null_mut(),
            )
        };
        match (keytab, library.check(major, minor)) {
            (Some(_), Err(_)) if minor == NO_CACHE => {
                Err("there is no key of that principal in it".to_owned())
            }
            (_, checked) => checked.map(|()| credentials),
        }
    }
}

impl Drop for Credentials {
    fn drop(&mut self) {
        // SAFETY: none, or those that the library has made; nobody else releases them.
        unsafe { (self.library.0.gss_release_cred)(&mut 0, &mut self.handle) };
    }
}

/// What the two ends of a connection agree on, token by token.
pub(super) struct Context {
    library: &'static Library,
    handle: Handle,
    credentials: Credentials,
    target: Name,
    is_established: bool,
    flags: u32,
}

// SAFETY: the library allows each of these to be used on any thread, on one at a time; `&mut self` sees to that.
unsafe impl Send for Context {}

impl Context {
    /// One with `service@host`.
    pub(super) fn new(credentials: Credentials, target: &str) -> Result<Context, String> {
        let library = credentials.library;
        let target = library.name(target, HOSTBASED_SERVICE)?;
        Ok(Context { library, handle: null_mut(), credentials, target, is_established: false, flags: 0 })
    }

    /// Takes the other end's token; none at first. Returns what the other end is to be sent.
    pub(super) fn step(&mut self, token: Option<&[u8]>) -> Result<Vec<u8>, String> {
        let (mut minor, krb5) = (0, oid(KRB5));
        let input = token.map(lent);
        let mut output = Bytes::none(self.library);
        // SAFETY: all pointers are to values that live through the call, or NULL where that is allowed. The handle is
        // NULL at first; the library keeps it.
        let major = unsafe {
            (self.library.0.gss_init_sec_context)(
                &mut minor,
                self.credentials.handle,
                &mut self.handle,
                self.target.handle,
                &krb5,
                MUTUAL | INTEGRITY,
                0,
                null(),
                input.as_ref().map_or(null(), |input| input),
                null_mut(),
                &mut output.buffer,
                &mut self.flags,
                null_mut(),
            )
        };
        self.library.check(major, minor)?;
        self.is_established = major & CONTINUE_NEEDED == 0;
        Ok(output.get().to_vec())
    }

    /// Nothing more is needed of the other end.
    pub(super) fn is_established(&self) -> bool {
        self.is_established
    }

    /// Once it is established: whether the other end has shown that it could read the ticket.
    pub(super) fn is_mutual(&self) -> bool {
        self.flags & MUTUAL != 0
    }

    /// Who the client is to the other end: a principal with its realm.
    pub(super) fn own_name(&self) -> Result<Vec<u8>, String> {
        let mut minor = 0;
        let mut name = Name { library: self.library, handle: null_mut() };
        // SAFETY: the context is there, and all other pointers are to values that live through the call, or NULL for
        // what is not asked for.
        let major = unsafe {
            (self.library.0.gss_inquire_context)(
                &mut minor,
                self.handle,
                &mut name.handle,
                null_mut(),
                null_mut(),
                null_mut(),
                null_mut(),
                null_mut(),
                null_mut(),
            )
        };
        self.library.check(major, minor)?;
        let mut text = Bytes::none(self.library);
        // SAFETY: as above; the name is there.
        let major = unsafe {
            (self.library.0.gss_display_name)(&mut minor, name.handle, &mut text.buffer, null_mut())
        };
        self.library.check(major, minor)?;
        Ok(text.get().to_vec())
    }

    /// Signs a message for the other end.
    pub(super) fn wrap(&mut self, message: &[u8]) -> Result<Vec<u8>, String> {
        let mut minor = 0;
        let mut output = Bytes::none(self.library);
        // SAFETY: the context is there, and all other pointers are to values that live through the call, or NULL for
        // what is not asked for.
        let major = unsafe {
            (self.library.0.gss_wrap)(
                &mut minor,
                self.handle,
                0,
                0,
                &lent(message),
                null_mut(),
                &mut output.buffer,
            )
        };
        self.library.check(major, minor)?;
        Ok(output.get().to_vec())
    }

    /// The message that the other end has signed.
    pub(super) fn unwrap(&mut self, token: &[u8]) -> Result<Vec<u8>, String> {
        let mut minor = 0;
        let mut output = Bytes::none(self.library);
        // SAFETY: as above.
        let major = unsafe {
            (self.library.0.gss_unwrap)(
                &mut minor,
                self.handle,
                &lent(token),
                &mut output.buffer,
                null_mut(),
                null_mut(),
            )
        };
        self.library.check(major, minor)?;
        Ok(output.get().to_vec())
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: none, or one that the library has made; nobody else deletes it.
        unsafe { (self.library.0.gss_delete_sec_context)(&mut 0, &mut self.handle, null_mut()) };
    }
}
