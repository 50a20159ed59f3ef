import GRPCCore

/// The status of a call that must fail; nil when it does not.
func code(_ body: () async throws -> Void) async -> RPCError.Code? {
    do {
        try await body()
        return nil
    } catch let error as RPCError {
        return error.code
    } catch {
        return .unknown
    }
}

/// Reads a stream to its end.
func drain<Message>(_ response: StreamingClientResponse<Message>) async throws {
    for try await _ in response.messages {}
}
