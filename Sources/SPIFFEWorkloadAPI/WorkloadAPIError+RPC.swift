import GRPCCore

extension WorkloadAPIError {
    /// Says what a failed call means.
    init(_ error: any Error, calling method: String, at address: WorkloadAPIAddress) {
        switch error {
        case let error as WorkloadAPIError: self = error
        case let error as RPCError: self.init(error, method, address)
        case let error as RuntimeError where error.code == .clientIsStopped:
            self.init(.stopped, "the Workload API client has ended", cause: error)
        case let error as RuntimeError where error.code == .clientIsAlreadyRunning:
            self.init(.alreadyRunning, "the Workload API client runs already", cause: error)
        default:
            self.init(.failed, "\(method) failed at Workload API \(address)", cause: error)
        }
    }

    private init(_ error: RPCError, _ method: String, _ address: WorkloadAPIAddress) {
        let said = error.message.isEmpty ? "" : ": " + Self.quoted(error.message)
        switch error.code {
        case .invalidArgument:
            self.init(
                .invalidRequest, "Workload API \(address) refused \(method) as invalid\(said)",
                cause: error)
        case .unimplemented:
            self.init(
                .notSupported, "Workload API \(address) does not know \(method)\(said)",
                cause: error)
        case .permissionDenied:
            self.init(
                .noIdentity,
                "Workload API \(address) knows no identity for this process\(said); register an entry "
                    + "whose selectors match it",
                cause: error)
        case .unavailable:
            self.init(
                .unavailable,
                "Workload API \(address) is not available\(said); check that the agent runs and that "
                    + "this process may open its socket",
                cause: error)
        case .deadlineExceeded:
            self.init(
                .deadlineExceeded, "Workload API \(address) did not answer \(method) in time",
                cause: error)
        default:
            self.init(
                .failed, "\(method) failed at Workload API \(address) with \(error.code)\(said)",
                cause: error)
        }
    }
}
