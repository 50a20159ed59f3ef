import Testing

@testable import SPIFFEGRPC

#if canImport(Glibc)
    import Glibc
#elseif canImport(Darwin)
    import Darwin
#endif

@Suite("What a process is held by")
struct PeerDescriptorTests {
    /// A kernel that answers as a test says. Any process may have the number by now, so what is taken by it would
    /// be a descriptor.
    private func kernel(
        hasOption: CInt, ofSocket: CInt, ofNumber: CInt = 70
    ) -> PeerDescriptor {
        PeerDescriptor(
            hasSocketOption: { hasOption }, ofSocket: { _ in ofSocket }, ofNumber: { _ in ofNumber }
        )
    }

    private func code(_ descriptor: PeerDescriptor, socket: CInt? = 5) -> LocalPeerError.Code? {
        do throws(LocalPeerError) {
            _ = try descriptor.take(socketDescriptor: socket, pid: 4711)
            return nil
        } catch {
            return error.code
        }
    }

    @Test("a kernel that can answer for the socket is believed: its number is never asked instead")
    func supported() throws {
        let good = self.kernel(hasOption: 1, ofSocket: 60)
        #expect(try good.take(socketDescriptor: 5, pid: 4711) == 60)
        // 6.5 to 6.15 say EINVAL, later ones ESRCH, of a peer that has ended and been waited for.
        for gone in [EINVAL, ESRCH] {
            #expect(self.code(self.kernel(hasOption: 1, ofSocket: -gone)) == .processEnded)
        }
        #expect(self.code(self.kernel(hasOption: 1, ofSocket: -ENODATA)) == .noCredentials)
        for failure in [EMFILE, ENFILE, ENOMEM, EPERM, ENOPROTOOPT, ENOSYS] {
            #expect(self.code(self.kernel(hasOption: 1, ofSocket: -failure)) == .noHandle)
        }
    }

    @Test("a kernel of which it cannot be told whether it can answer is taken for one that can")
    func unknown() throws {
        let good = self.kernel(hasOption: -EMFILE, ofSocket: 60)
        #expect(try good.take(socketDescriptor: 5, pid: 4711) == 60)
        for failure in [EINVAL, ENOPROTOOPT] {
            #expect(self.code(self.kernel(hasOption: -EMFILE, ofSocket: -failure)) != nil)
        }
    }

    @Test("only a kernel without the option is asked by number, and so is a reference that is one")
    func byNumber() throws {
        let old = self.kernel(hasOption: 0, ofSocket: -EINVAL)
        #expect(try old.take(socketDescriptor: 5, pid: 4711) == 70)
        let new = self.kernel(hasOption: 1, ofSocket: -EINVAL)
        #expect(try new.take(socketDescriptor: nil, pid: 4711) == 70)
        let none = self.kernel(hasOption: 0, ofSocket: -EINVAL, ofNumber: -ENOSYS)
        #expect(try none.take(socketDescriptor: 5, pid: 4711) == nil)
        for gone in [ESRCH, EINVAL, ENOENT] {
            let kernel = self.kernel(hasOption: 0, ofSocket: -EINVAL, ofNumber: -gone)
            #expect(self.code(kernel) == .processEnded)
        }
        let full = self.kernel(hasOption: 0, ofSocket: -EINVAL, ofNumber: -EMFILE)
        #expect(self.code(full) == .noHandle)
    }

    @Test("a process at the other end of a pair of sockets is named, and is this one")
    func own() throws {
        var ends: [CInt] = [-1, -1]
        #if canImport(Glibc)
            try #require(socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0, &ends) == 0)
        #else
            try #require(socketpair(AF_UNIX, SOCK_STREAM, 0, &ends) == 0)
        #endif
        defer { for end in ends { close(end) } }
        let peer = try LocalPeer(socketDescriptor: ends[0])
        #expect(peer.pid == getpid() && peer.uid == geteuid() && peer.isAlive)
    }
}
