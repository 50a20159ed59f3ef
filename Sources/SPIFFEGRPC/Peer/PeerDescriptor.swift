import CPeer
import NIOConcurrencyHelpers

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

/// Takes the descriptor that stands for a process: from its socket where the kernel can do that, by its number only
/// where it cannot.
///
/// A number may have come to mean another process since `connect`. So a kernel that can answer for the socket (Linux
/// 6.5 and later) is believed whatever it says: an error there means that the peer cannot be named, and never
/// that its number may be asked. Linux 6.5 to 6.15 answer EINVAL for a peer that has ended, which says nothing of
/// whether they have the option; that is found out once, on a pair of sockets of our own.
struct PeerDescriptor {
    /// Whether the kernel can answer for a socket: 1, 0, or a negative errno when that cannot be told now.
    var hasSocketOption: () -> CInt = { PeerDescriptor.support.withLockedValue { $0.ask() } }
    /// Asks the kernel for the process that connected the socket; a descriptor or a negative errno.
    var ofSocket: (CInt) -> CInt = cygnet_peer_pidfd
    /// Asks the kernel for the process that has the number now; a descriptor or a negative errno.
    var ofNumber: (Int32) -> CInt = cygnet_pidfd_open

    /// What the kernel has answered, once it has.
    private struct Support {
        var answer: CInt?

        mutating func ask() -> CInt {
            if let answer = self.answer { return answer }
            let answer = cygnet_has_peer_pidfd()
            if answer >= 0 { self.answer = answer }
            return answer
        }
    }

    private static let support = NIOLockedValueBox(Support())

    /// Finds out what the kernel can do, before the first connection and while there are descriptors.
    static func prepare() { _ = self.support.withLockedValue { $0.ask() } }

    /// A new descriptor, the caller's to close; nil where the system has none for processes.
    ///
    /// - Parameters:
    ///   - socketDescriptor: The accepted socket, or nil to go by the number.
    ///   - pid: The number that the kernel gave for the socket.
    /// - Throws: ``LocalPeerError`` when the process has ended, cannot be named, or cannot be held.
    func take(socketDescriptor: CInt?, pid: Int32) throws(LocalPeerError) -> CInt? {
        // When it cannot be told whether the option is there, nothing but the option will do.
        if let socketDescriptor, self.hasSocketOption() != 0 {
            let descriptor = self.ofSocket(socketDescriptor)
            if descriptor >= 0 { return descriptor }
            switch descriptor {
            case -ESRCH, -EINVAL: throw .ended(descriptor)
            case -ENODATA:
                throw LocalPeerError(
                    .noCredentials, "the kernel names no process for the peer", descriptor)
            default: throw .noHandle(descriptor)
            }
        }
        let descriptor = self.ofNumber(pid)
        if descriptor >= 0 { return descriptor }
        switch descriptor {
        case -ENOSYS: return nil
        // ENOENT: the number of a thread that is no process (newer kernels).
        case -ESRCH, -EINVAL, -ENOENT: throw .ended(descriptor)
        default: throw .noHandle(descriptor)
        }
    }
}

extension LocalPeerError {
    fileprivate static func ended(_ negativeErrno: CInt) -> LocalPeerError {
        LocalPeerError(.processEnded, "the process that connected has ended", negativeErrno)
    }

    fileprivate static func noHandle(_ negativeErrno: CInt) -> LocalPeerError {
        LocalPeerError(
            .noHandle, "cannot take hold of the process that connected", negativeErrno)
    }
}
