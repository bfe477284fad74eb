//! Who the process is: it may be started as root, and becomes somebody else before it speaks with anybody.

#[cfg(not(target_vendor = "apple"))]
use std::ffi::CString;

use nix::unistd::{Gid, Group, User, getegid, geteuid, setgid, setuid};

use super::plan::Plan;
use crate::toml_file::{At, Invalid};

/// Becomes the `user` and `group` of the settings, for good. To be called before there is any thread.
pub fn drop_to(plan: &Plan) -> Result<(), Invalid> {
    let user = plan.user.as_ref().map(find_user).transpose()?;
    let group = plan.group.as_ref().map(find_group).transpose()?;
    let gid = match (&group, &user) {
        (Some(group), _) => group.gid,
        (None, Some(user)) => user.gid,
        (None, None) => return Ok(()),
    };
    let of = plan.user.as_ref().or(plan.group.as_ref()).expect("one of them is set");
    let is_it_already = user.as_ref().is_some_and(|user| user.uid == geteuid() && !user.uid.is_root());
    if is_it_already && gid == getegid() {
        return Ok(());
    }
    let failed = |what: &str, errno: nix::Error| of.invalid(format!("{what}: {errno}"));
    // As long as the process is root it may do all of these, and no longer.
    take_groups(user.as_ref(), gid).map_err(|errno| failed("cannot take the user's groups", errno))?;
    setgid(gid).map_err(|errno| failed("cannot become the group", errno))?;
    if let Some(user) = &user {
        setuid(user.uid).map_err(|errno| failed("cannot become the user", errno))?;
        // If it were still possible to become root again, nothing would have been dropped.
        if !user.uid.is_root() && (geteuid() != user.uid || setuid(0.into()).is_ok()) {
            return Err(of.invalid("the process is still root"));
        }
    }
    Ok(())
}

/// Takes the groups of a user in place of its own; without a user, the group alone.
#[cfg(not(target_vendor = "apple"))]
fn take_groups(user: Option<&User>, gid: Gid) -> nix::Result<()> {
    match user {
        Some(user) => {
            let name = CString::new(user.name.as_str()).map_err(|_| nix::Error::EINVAL)?;
            nix::unistd::initgroups(&name, gid)
        }
        None => nix::unistd::setgroups(&[gid]),
    }
}

/// There, groups are not a matter of the process alone.
#[cfg(target_vendor = "apple")]
fn take_groups(_: Option<&User>, _: Gid) -> nix::Result<()> {
    Err(nix::Error::ENOTSUP)
}

fn find_user(name: &At<String>) -> Result<User, Invalid> {
    match User::from_name(&name.value) {
        Ok(Some(user)) => Ok(user),
        Ok(None) => Err(name.invalid(format!("there is no user {:?}", name.value))),
        Err(errno) => Err(name.invalid(format!("the user {:?} cannot be looked up: {errno}", name.value))),
    }
}

fn find_group(name: &At<String>) -> Result<Group, Invalid> {
    match Group::from_name(&name.value) {
        Ok(Some(group)) => Ok(group),
        Ok(None) => Err(name.invalid(format!("there is no group {:?}", name.value))),
        Err(errno) => Err(name.invalid(format!("the group {:?} cannot be looked up: {errno}", name.value))),
    }
}
