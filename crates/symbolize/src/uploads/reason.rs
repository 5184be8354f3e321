//! Why an upload is wanted or not, in Parca's words (pkg/debuginfo/store.go): agents compare [`IN_PROGRESS`] byte by byte.

pub(super) const FIRST_TIME: &str =
    "First time we see this Build ID, and it does not exist in debuginfod, therefore please upload!";
pub(super) const STALE: &str = "A previous upload was started but not finished and is now stale, so it can be retried.";
pub(super) const IN_PROGRESS: &str =
    "A previous upload is still in-progress and not stale yet (only stale uploads can be retried).";
pub(super) const IN_PROGRESS_FORCED: &str =
    "A previous upload is in-progress, but accepting restart because it's requested to be forced.";
pub(super) const EXISTS: &str =
    "Debuginfo already exists and is not marked as invalid, therefore no new upload is needed.";
pub(super) const EXISTS_FORCED: &str = "Debuginfo already exists and is not marked as invalid, therefore wouldn't have \
                                        accepted a new upload, but accepting it because it's requested to be forced.";
pub(super) const INVALID: &str = "Debuginfo already exists but is marked as invalid, therefore a new upload is needed. \
                                  Hash the debuginfo and initiate the upload.";
pub(super) const EQUAL: &str = "Debuginfo already exists and is marked as invalid, but the proposed hash is the same as \
                                the one already available, therefore the upload is not accepted as it would result in \
                                the same invalid debuginfos.";
pub(super) const NOT_EQUAL: &str =
    "Debuginfo already exists but is marked as invalid, therefore a new upload will be accepted.";
pub(super) const PURGED: &str =
    "Debuginfo was previously uploaded but has been purged/cleaned up, therefore a new upload is needed.";
pub(super) const DEBUGINFOD: &str =
    "Debuginfo is available from debuginfod already and not marked as invalid, therefore no new upload is needed.";
pub(super) const DEBUGINFOD_INVALID: &str =
    "Debuginfo is available from debuginfod already but is marked as invalid, therefore a new upload is needed.";
