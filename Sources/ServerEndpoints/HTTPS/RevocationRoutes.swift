import NIOConcurrencyHelpers
package import ServerCore
package import ServiceRuntime

/// The lists of what was taken back, as answers: `/crl/<authority ID>.crl` and `/statuslist`, made once per publication
/// and list.
package final class RevocationRoutes: Sendable {
    private struct Made {
        let list: SignedList
        let response: DocumentResponse
    }

    /// Where the status list is.
    package static let statusListPath = "/statuslist"
    private static let crlPrefix = "/crl/"
    private static let crlSuffix = ".crl"

    private let lists: @Sendable () -> RevocationLists
    /// By path; never more than there are lists.
    private let made = NIOLockedValueBox<[String: Made]>([:])

    /// - Parameter lists: Gives those of now; asked at each request, on an event loop.
    package init(_ lists: @escaping @Sendable () -> RevocationLists) { self.lists = lists }

    /// The answer to a request; nil for other paths, and for lists that there are not.
    package func response(to request: DocumentRequest) -> DocumentResponse? {
        let path = request.path
        let isStatusList = path == Self.statusListPath
        guard isStatusList || path.hasPrefix(Self.crlPrefix) && path.hasSuffix(Self.crlSuffix)
        else { return nil }
        let lists = self.lists()
        let authorityID = String(
            path.dropFirst(Self.crlPrefix.count).dropLast(Self.crlSuffix.count))
        guard let list = isStatusList ? lists.statusList : lists.crls[authorityID] else {
            // Before the first publication nobody can say that there is none.
            return lists.number == 0 ? Self.unavailable : nil
        }
        return self.made.withLockedValue { made in
            if let known = made[path], known.list == list { return known.response }
            let response = Self.response(list, isStatusList: isStatusList)
            if made.count > lists.crls.count { made.removeAll() }
            made[path] = Made(list: list, response: response)
            return response
        }
    }

    private static func response(_ list: SignedList, isStatusList: Bool) -> DocumentResponse {
        var fields = [(name: "last-modified", value: HTTPDate.format(Int(clamping: list.signedAt)))]
        // Consumers of status lists run in browsers too; everything here is public.
        if isStatusList { fields.append(("access-control-allow-origin", "*")) }
        return DocumentResponse(
            contentType: isStatusList ? StatusListBuilder.mediaType : "application/pkix-crl",
            body: list.bytes, entityTag: EntityTag.of(list.bytes), fields: fields)
    }

    private static let unavailable = DocumentResponse.refusal(503, "there are no lists yet")
}
