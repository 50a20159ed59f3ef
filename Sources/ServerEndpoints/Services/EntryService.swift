import ControlPlaneProto
import GRPCCore
import SPIFFE
import ServerCore
import SwiftProtobuf

/// `spire.api.server.entry.v1.Entry`: registration entries for operators, authorised entries for stock agents.
struct EntryService: Spire_Api_Server_Entry_V1_Entry.SimpleServiceProtocol {
    /// How many entries or revisions go into one message of SyncAuthorizedEntries.
    private static let syncPageSize = 500

    let registry: EntryRegistry
    let directory: Directory

    // MARK: Operators

    func countEntries(
        request: Spire_Api_Server_Entry_V1_CountEntriesRequest, context: ServerContext
    ) async throws -> Spire_Api_Server_Entry_V1_CountEntriesResponse {
        let filter = try Self.filter(request.filter)
        return .with { $0.count = Int32(clamping: self.registry.count(filter)) }
    }

    func listEntries(
        request: Spire_Api_Server_Entry_V1_ListEntriesRequest, context: ServerContext
    ) async throws -> Spire_Api_Server_Entry_V1_ListEntriesResponse {
        let filter = try Wire.entryFilter(request.filter)
        let limit = max(0, Int(request.pageSize))
        let start = limit > 0 ? try Wire.pageStart(request.pageToken) : 0
        let page = self.registry.list(filter, limit: limit, from: start)
        let mask = request.hasOutputMask ? request.outputMask : nil
        return .with {
            $0.entries = page.entries.map { Wire.message($0, mask: mask) }
            if limit > 0 && !page.entries.isEmpty { $0.nextPageToken = String(page.next) }
        }
    }

    func getEntry(
        request: Spire_Api_Server_Entry_V1_GetEntryRequest, context: ServerContext
    ) async throws -> Spire_Api_Types_Entry {
        guard !request.id.isEmpty else { throw ServerError(.invalidArgument, "missing ID") }
        guard let entry = self.registry.entry(id: request.id) else {
            throw ServerError(.notFound, "entry not found")
        }
        return Wire.message(entry, mask: request.hasOutputMask ? request.outputMask : nil)
    }

    func batchCreateEntry(
        request: Spire_Api_Server_Entry_V1_BatchCreateEntryRequest, context: ServerContext
    ) async throws -> Spire_Api_Server_Entry_V1_BatchCreateEntryResponse {
        let drafts = request.entries.map { message in
            Result { () throws(ServerError) in try Wire.entry(message) }
        }
        let results = try await self.registry.create(drafts)
        let mask = request.hasOutputMask ? request.outputMask : nil
        return .with {
            $0.results = results.map { result in
                .with {
                    switch result {
                    case .created(let entry):
                        $0.status = itemOK
                        $0.entry = Wire.message(entry, mask: mask)
                    case .exists(let entry):
                        $0.status =
                            ServerError(.alreadyExists, "similar entry already exists").itemStatus
                        $0.entry = Wire.message(entry, mask: mask)
                    case .refused(let error):
                        $0.status = error.itemStatus
                    }
                }
            }
        }
    }

    func batchUpdateEntry(
        request: Spire_Api_Server_Entry_V1_BatchUpdateEntryRequest, context: ServerContext
    ) async throws -> Spire_Api_Server_Entry_V1_BatchUpdateEntryResponse {
        let inputMask = request.hasInputMask ? request.inputMask : nil
        let updates = request.entries.map { message in
            EntryUpdate(id: message.id) { (old: Entry) throws(ServerError) in
                try Wire.merge(message, into: old, mask: inputMask)
            }
        }
        let results = try await self.registry.update(updates)
        let outputMask = request.hasOutputMask ? request.outputMask : nil
        return .with {
            $0.results = results.map { result in
                .with {
                    switch result {
                    case .updated(let entry):
                        $0.status = itemOK
                        $0.entry = Wire.message(entry, mask: outputMask)
                    case .notFound:
                        $0.status = ServerError(.notFound, "entry not found").itemStatus
                    case .similarExists:
                        $0.status =
                            ServerError(.alreadyExists, "similar entry already exists").itemStatus
                    case .refused(let error):
                        $0.status = error.itemStatus
                    }
                }
            }
        }
    }

    func batchDeleteEntry(
        request: Spire_Api_Server_Entry_V1_BatchDeleteEntryRequest, context: ServerContext
    ) async throws -> Spire_Api_Server_Entry_V1_BatchDeleteEntryResponse {
        let found = try await self.registry.delete(request.ids)
        return .with {
            $0.results = zip(request.ids, found).map { id, wasFound in
                .with {
                    $0.id = id
                    $0.status =
                        id.isEmpty
                        ? ServerError(.invalidArgument, "missing entry ID").itemStatus
                        : wasFound ? itemOK : ServerError(.notFound, "entry not found").itemStatus
                }
            }
        }
    }

    // MARK: Agents

    func getAuthorizedEntries(
        request: Spire_Api_Server_Entry_V1_GetAuthorizedEntriesRequest, context: ServerContext
    ) async throws -> Spire_Api_Server_Entry_V1_GetAuthorizedEntriesResponse {
        let agent = try context.call.requireAgent()
        let mask = request.hasOutputMask ? request.outputMask : nil
        return .with {
            $0.entries = self.directory.authorizedEntries(agent: agent).map {
                Wire.message($0, mask: mask)
            }
        }
    }

    func syncAuthorizedEntries(
        request: RPCAsyncSequence<
            Spire_Api_Server_Entry_V1_SyncAuthorizedEntriesRequest, any Error
        >,
        response: RPCWriter<Spire_Api_Server_Entry_V1_SyncAuthorizedEntriesResponse>,
        context: ServerContext
    ) async throws {
        let agent = try context.call.requireAgent()
        var requests = request.makeAsyncIterator()
        guard let first = try await requests.next() else { return }
        guard first.ids.isEmpty else {
            throw ServerError(
                .invalidArgument, "specifying IDs on initial request is not supported")
        }
        let mask = first.hasOutputMask ? first.outputMask : nil
        guard mask?.revisionNumber ?? true else {
            throw ServerError(.invalidArgument, "revision number cannot be masked")
        }
        let entries = self.directory.authorizedEntries(agent: agent)
        if entries.count <= Self.syncPageSize {
            try await response.write(
                .with { $0.entries = entries.map { Wire.message($0, mask: mask) } })
            return
        }
        for start in stride(from: 0, to: entries.count, by: Self.syncPageSize) {
            let page = entries[start..<min(start + Self.syncPageSize, entries.count)]
            try await response.write(
                .with {
                    $0.entryRevisions = page.map { entry in
                        .with {
                            $0.id = entry.id
                            $0.revisionNumber = entry.revision
                            $0.createdAt = entry.createdAt
                        }
                    }
                    $0.more = page.endIndex < entries.count
                })
        }
        let byID = Dictionary(entries.map { ($0.id, $0) }) { first, _ in first }
        while let wanted = try await requests.next() {
            let found = Set(wanted.ids).sorted().compactMap { byID[$0] }
            var start = 0
            repeat {
                let page = found[start..<min(start + Self.syncPageSize, found.count)]
                start = page.endIndex
                let isLast = start >= found.count
                try await response.write(
                    .with {
                        $0.entries = page.map { Wire.message($0, mask: mask) }
                        $0.more = !isLast
                    })
            } while start < found.count
        }
    }

    private static func filter(
        _ filter: Spire_Api_Server_Entry_V1_CountEntriesRequest.Filter
    ) throws(ServerError) -> EntryFilter {
        try Wire.entryFilter(
            .with {
                if filter.hasBySpiffeID { $0.bySpiffeID = filter.bySpiffeID }
                if filter.hasByParentID { $0.byParentID = filter.byParentID }
                if filter.hasBySelectors { $0.bySelectors = filter.bySelectors }
                if filter.hasByFederatesWith { $0.byFederatesWith = filter.byFederatesWith }
                if filter.hasByHint { $0.byHint = filter.byHint }
                if filter.hasByDownstream { $0.byDownstream = filter.byDownstream }
            })
    }
}

extension CallContext {
    /// The calling agent's ID.
    ///
    /// - Throws: an internal error when the caller was not let through as an agent: the policy table and the
    ///   service disagree.
    func requireAgent() throws(ServerError) -> SPIFFEID {
        guard let id = self.caller.agentID else {
            throw ServerError(
                .internal, "method needs an agent but was opened to \(self.caller.authorizedAs)")
        }
        return id
    }
}
