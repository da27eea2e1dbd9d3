// Package runlock keeps the folder of a run to one process: a file in it that is locked by the system, and so never
// longer than its holder lives. What stands in the file says who that is. Where a file system has no locks, which some
// network disks do not, a run goes without, and says so. Not for the browser, whose files no second tab can write.
package runlock
