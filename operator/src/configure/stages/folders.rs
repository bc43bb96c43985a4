//! The user that the engine becomes, its group, which control and engine share, and the folder of shared memory that it may enter.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::configure::finding::{Item, State, Wanted};
use crate::configure::knob::Knob;
use crate::configure::plan::Plan;
use crate::configure::stage::Stage;
use crate::configure::system::{System, USER_FLAGS};

/// The group of control and engine; an engine that has dropped its rights runs as the user of the same name.
pub const GROUP: &str = "streams";

/// Of the folder of shared memory, whose files control and engine make as two users of one group: each its own, and neither can
/// take away or exchange the other's.
const SHARED_MODE: &str = "3770";

/// See the module.
pub struct Folders;

impl Stage for Folders {
    fn name(&self) -> &'static str {
        "folders"
    }

    fn purpose(&self) -> &'static str {
        "shared memory that control and engine may enter, and nobody else"
    }

    fn right(&self) -> &'static str {
        "root"
    }

    fn items(&self, system: &System, plan: &Plan) -> Vec<Item> {
        let group = Knob::Group { name: GROUP.to_owned() };
        let user = Knob::User { name: GROUP.to_owned() };
        let add = format!("groupadd --system {GROUP}");
        let add_user = format!("useradd {} --gid {GROUP} {GROUP}", USER_FLAGS.join(" "));
        vec![
            Item::of(system, &format!("group {GROUP}"), group, Wanted::Exactly("present"), &add),
            Item::of(system, &format!("user {GROUP}"), user, Wanted::Exactly("present"), &add_user),
            run_folder(system, plan, &plan.run_dir.to_string_lossy()),
        ]
    }
}

fn run_folder(system: &System, plan: &Plan, path: &str) -> Item {
    let knob = Knob::Folder { path: path.to_owned() };
    let (mode, owner) = match knob.read(system) {
        Ok(Some(found)) => {
            let owner = found.split([' ', ':']).nth(1).unwrap_or_default().to_owned();
            if !is_trusted(system, plan, &owner) {
                let action = format!("everybody may write in /dev/shm: stop `{owner}`'s program, then rm -r {path}");
                return Item::plain(path, State::Wrong, found, format!("{SHARED_MODE} root:{GROUP}"), action);
            }
            match owner.as_str() {
                // An engine that root started has its folder hand the group on, and writes in it no more.
                "root" if found.starts_with("2750 ") => ("2750", owner),
                "root" | GROUP => (SHARED_MODE, "root".to_owned()),
                _ => ("0750", owner),
            }
        }
        Ok(None) => (SHARED_MODE, "root".to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {
            return Item::plain(path, State::Wrong, "no folder", "a folder", format!("remove what is at {path}"));
        }
        Err(error) => return Item::unread(path, &error, ""),
    };
    let wanted = format!("{mode} {owner}:{GROUP}");
    let by_hand = format!("install -d -m {mode} -o {owner} -g {GROUP} {path}");
    Item::of(system, path, knob, Wanted::Exactly(&wanted), &by_hand)
}

/// Whether a run folder of this user's is one of Streams: of root, of the engine's user, or of the data directory's owner.
fn is_trusted(system: &System, plan: &Plan, owner: &str) -> bool {
    let data = fs::metadata(&plan.config.server.data).ok();
    let data_owner = data.map(|data| system.name_of("/etc/passwd", data.uid()));
    owner == "root" || owner == GROUP || data_owner.as_deref() == Some(owner)
}
