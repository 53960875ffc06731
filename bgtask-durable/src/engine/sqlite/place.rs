//! SQLite: whether a file can be a database on this machine, before anything is made beside it. Must never open it.

use crate::OpenError;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The network file systems: those of `fstype_is_network` in systemd and `mnt_fstype_is_netfs` in util-linux, and those over FUSE
/// that their projects name in `/proc/self/mountinfo`. Their locks, or the memory that processes share through a file, do not reach
/// other machines: <https://sqlite.org/wal.html>.
const NETWORK: [&str; 35] = [
    "9p",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "coda",
    "davfs",
    "gfs",
    "gfs2",
    "glusterfs",
    "gpfs",
    "lustre",
    "ncp",
    "ncpfs",
    "nfs",
    "nfs3",
    "nfs4",
    "ocfs2",
    "orangefs",
    "pvfs2",
    "smb3",
    "smbfs",
    // After `fuse.`.
    "blobfuse",
    "blobfuse2",
    "ceph-fuse",
    "curlftpfs",
    "gcsfuse",
    "goofys",
    "juicefs",
    "mountpoint-s3",
    "rclone",
    "s3fs",
    "seaweedfs",
    "sshfs",
    "weed",
];

/// Checks that a file is on a disk of this machine, and is no folder.
///
/// # Errors
/// If it is a folder, or on a network file system. Where the system does not list its mounts, as only Linux does, none is known.
pub(super) fn check(file: &Path) -> Result<(), OpenError> {
    if file.is_dir() {
        return Err(OpenError::Database(
            format!("{} is a folder: name a file in it", file.display()).into(),
        ));
    }
    let Some(place) = place(file) else {
        // Its folder is missing, which is reported when the file is opened.
        return Ok(());
    };
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    match file_system(&place, &mounts) {
        Some(name) if is_network(name) => Err(OpenError::NetworkFileSystem {
            path: file.display().to_string(),
            file_system: name.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// Returns the path of the file, or of the folder in which it would be made, without links.
fn place(file: &Path) -> Option<PathBuf> {
    file.canonicalize()
        .or_else(|_| file.parent().unwrap_or(file).canonicalize())
        .ok()
}

fn is_network(file_system: &str) -> bool {
    let name = file_system.strip_prefix("fuse.").unwrap_or(file_system);
    NETWORK.contains(&name)
}

/// Returns the name of the file system of a path, by the lines of `/proc/self/mountinfo`.
fn file_system<'a>(path: &Path, mounts: &'a str) -> Option<&'a str> {
    let of_mount = |line: &'a str| {
        // Its id, that of its parent, the device, its root, where it is mounted, options; after a hyphen the file system.
        let (mount, file_system) = line.split_once(" - ")?;
        let point = unescaped(mount.split(' ').nth(4)?);
        path.starts_with(&point)
            .then_some((point.components().count(), file_system.split(' ').next()?))
    };
    // Of several that are mounted at one place, the last hides the others.
    mounts
        .lines()
        .filter_map(of_mount)
        .max_by_key(|(depth, _)| *depth)
        .map(|(_, name)| name)
}

/// Replaces spaces, tabs, line ends and backslashes, which are written as octal numbers.
fn unescaped(text: &str) -> PathBuf {
    let mut path = String::new();
    let mut rest = text;
    while let Some((before, escaped)) = rest.split_once('\\') {
        path += before;
        let (number, after) = escaped.split_at_checked(3).unwrap_or((escaped, ""));
        match u8::from_str_radix(number, 8) {
            Ok(byte) => path.push(char::from(byte)),
            Err(_) => path += number,
        }
        rest = after;
    }
    path += rest;
    OsString::from(path).into()
}

#[cfg(test)]
mod tests {
    use super::{check, file_system, is_network, place};
    use crate::OpenError;
    use std::path::Path;

    const MOUNTS: &str = "\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:25 / /dev/shm rw,nosuid shared:4 - tmpfs tmpfs rw
40 22 0:50 / /srv/jobs rw,relatime shared:9 - nfs4 server:/jobs rw,vers=4.2
41 40 254:1 / /srv/jobs/local rw,relatime - xfs /dev/vdb rw
42 22 0:51 / /mnt/my\\040files rw - fuse.sshfs ann@host: rw,user_id=0
43 22 0:52 / /mnt/ntfs rw - fuseblk /dev/sdb1 rw
44 22 0:53 / /over rw - ext4 /dev/sdc rw
45 44 0:54 / /over rw - cifs //host/share rw
46 22 0:55 / /host rw - virtiofs shared rw
47 22 0:56 / /mnt/c rw - 9p C:\\134 rw
";

    /// Sentence 12.4.
    #[test]
    fn a_path_on_a_network_file_system_is_recognised() {
        for (path, name, is_refused) in [
            ("/home/ann/jobs.db", "ext4", false),
            ("/dev/shm/jobs.db", "tmpfs", false),
            ("/srv/jobs/jobs.db", "nfs4", true),
            ("/srv/jobs", "nfs4", true),
            // A name that only begins with it, and a local disk within.
            ("/srv/jobs2/jobs.db", "ext4", false),
            ("/srv/jobs/local/jobs.db", "xfs", false),
            ("/mnt/my files/jobs.db", "fuse.sshfs", true),
            ("/mnt/ntfs/jobs.db", "fuseblk", false),
            // The last mount hides the one below.
            ("/over/jobs.db", "cifs", true),
            ("/host/jobs.db", "virtiofs", false),
            ("/mnt/c/jobs.db", "9p", true),
        ] {
            assert_eq!(file_system(Path::new(path), MOUNTS), Some(name), "{path}");
            assert_eq!(is_network(name), is_refused, "{path}");
        }
        assert_eq!(file_system(Path::new("/jobs.db"), ""), None);
    }

    /// Of this machine: what is read is what the test above has.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_mounts_of_this_machine_are_read() {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("the mounts");
        let status = place(Path::new("/proc/sys/no-such-file")).expect("its folder");
        assert_eq!(file_system(&status, &mounts), Some("proc"));
        let file = std::env::temp_dir().join("bgtask-no-such-file");
        assert!(file_system(&place(&file).expect("its folder"), &mounts).is_some());
        check(&file).expect("the tests are on a disk of this machine");
    }

    /// Sentence 12.4.
    #[test]
    fn the_error_names_the_file_and_the_cure() {
        let error = OpenError::NetworkFileSystem {
            path: "/srv/jobs/jobs.db".to_owned(),
            file_system: "nfs4".to_owned(),
        };
        let error = error.to_string();
        for part in [
            "/srv/jobs/jobs.db",
            "nfs4",
            "a disk of this machine",
            "Postgres",
        ] {
            assert!(error.contains(part), "{error}");
        }
    }
}
