import GRPCCore
import SPIFFEGRPC

/// How the agent's endpoints come to an end.
enum Farewell {
    /// How long callers may take to hear that the agent is about to end.
    private static let time = Duration.seconds(2)

    /// Serves until the task is cancelled; calls that are open then hear a last word.
    ///
    /// - Parameter begin: Sees to that word.
    static func serve(
        _ server: GRPCServer<SPIFFEServerTransport>,
        _ begin: @escaping @Sendable () -> Void = {}
    ) async throws {
        // Not a child task: when this one is cancelled, streams are to end with a word first.
        let serving = Task { try await server.serve() }
        try await withTaskCancellationHandler {
            try await serving.value
        } onCancel: {
            begin()
            server.beginGracefulShutdown()
            Task {  // Ends by itself.
                try await Task.sleep(for: Self.time)
                serving.cancel()
            }
        }
    }
}
