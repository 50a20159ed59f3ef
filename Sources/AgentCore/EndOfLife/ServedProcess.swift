package import PluginAPI

/// A process that is given SVIDs and whose end can be waited for.
package protocol ServedProcess: ProcessReference {
    /// Effective user ID.
    var uid: UInt32 { get }
    /// Has the action run once when the process ends, on any thread; at once when it has ended already. Asked once for
    /// each process.
    ///
    /// - Parameter action: Must not wait. May still run just after what is returned was let go of.
    /// - Returns: What keeps the watch going for as long as it is held, connections or not; nil where the system cannot
    ///   tell, and ``isAlive`` must be asked now and then.
    func watchEnd(_ action: @escaping @Sendable () -> Void) -> (any Sendable)?
}
