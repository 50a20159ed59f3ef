package import NIOCore
import NIOPosix

/// Listens on a free port of the loopback interface while a test runs.
package enum LoopbackServer {
    /// - Parameters:
    ///   - initialise: Makes the pipeline of a connection, on the connection's event loop.
    ///   - body: Is given the port.
    /// - Throws: What `body` throws, or why there is no listening.
    package static func with<Result>(
        _ initialise: @escaping @Sendable (any Channel) throws -> Void,
        _ body: (_ port: Int) async throws -> Result
    ) async throws -> Result {
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try initialise(channel) }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        do {
            let result = try await body(channel.localAddress?.port ?? 0)
            try await channel.close()
            return result
        } catch {
            try? await channel.close()
            throw error
        }
    }
}
